"""Messages of sensor_msgs that belong to a camera's frames. Plain pictures: ``aisle_contract.images``."""

from __future__ import annotations

from array import array

import cv2
import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage
from std_msgs.msg import Header

from aisle_store.camera_model import Camera


def camera_info(camera: Camera, header: Header) -> CameraInfo:
    """Intrinsics as calibrated: the images are not rectified, so the rectification is none."""
    projection = np.hstack([camera.matrix, np.zeros((3, 1))])
    return CameraInfo(
        header=header,
        height=camera.height,
        width=camera.width,
        distortion_model="plumb_bob",
        d=camera.distortion.tolist(),
        k=camera.matrix.ravel(),
        r=np.eye(3).ravel(),
        p=projection.ravel(),
    )


def jpeg(image: np.ndarray, quality: int, header: Header) -> CompressedImage:
    """``image`` uint8 [height, width, 3] BGR as JPEG; ``quality`` 1 .. 100."""
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return CompressedImage(header=header, format="jpeg", data=array("B", data.tobytes()))
