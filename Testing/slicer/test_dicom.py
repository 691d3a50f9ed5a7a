"""What DICOM knows of a volume."""

from __future__ import annotations

from typing import Any

import pytest
from scenes import GEOMETRIES, add_volume, picture, slicer


def test_patient_and_study_are_found_in_the_hierarchy(scene: Any) -> None:
    pytest.importorskip("pydicom")
    from LIPCARLib.slicer.dicom import dicom_header

    lowdose = add_volume(scene, "low", picture(), GEOMETRIES["plain"])
    assert dicom_header(lowdose) is None
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "patient")
    study = hierarchy.CreateStudyItem(patient, "study")
    hierarchy.SetItemAttribute(patient, "DICOM.PatientName", "Doe^Jo")
    hierarchy.SetItemAttribute(patient, "DICOM.PatientID", "p7")
    hierarchy.SetItemAttribute(study, "DICOM.StudyDate", "20260102")
    hierarchy.SetItemAttribute(study, "DICOM.NoSuchKeyword", "x")
    hierarchy.SetItemUID(study, "DICOM", "1.2.3")
    hierarchy.CreateItem(study, lowdose)
    header = dicom_header(lowdose)
    assert (header.PatientName, header.PatientID) == ("Doe^Jo", "p7")
    assert (header.StudyDate, header.StudyInstanceUID) == ("20260102", "1.2.3")
